"""Tables of the sample shop: between them they have a column of every type that people use.

``products`` keeps its times without a zone, and ``orders`` and ``order_items`` share a business date, so that all
forms of a cursor and of an event date are there.
"""

from collections.abc import Sequence

TABLES: Sequence[str] = (
    "CREATE TYPE order_status AS ENUM ('placed', 'paid', 'shipped', 'delivered', 'cancelled')",
    """
    CREATE TABLE customers (
        customer_id bigint PRIMARY KEY,
        email varchar(254) NOT NULL,
        full_name text NOT NULL,
        country char(2),
        external_id uuid,
        newsletter boolean,
        birthday date,
        preferences jsonb,
        tags text[],
        last_address inet,
        credit numeric,
        time_on_site interval,
        created_at timestamptz,
        updated_at timestamptz DEFAULT now(),
        deleted_at timestamptz
    )
    """,
    """
    CREATE TABLE products (
        product_id integer PRIMARY KEY,
        sku char(12) NOT NULL,
        name varchar(200) NOT NULL,
        description text,
        price numeric(12,2) NOT NULL,
        weight_kg real,
        rating double precision,
        stock smallint NOT NULL,
        attributes json,
        dimensions_cm numeric[],
        goes_with int[],
        image bytea,
        delivered_until time,
        updated_at timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
        deleted_at timestamp
    )
    """,
    """
    CREATE TABLE orders (
        order_id bigint PRIMARY KEY,
        customer_id bigint NOT NULL,
        status order_status NOT NULL,
        total numeric(12,2) NOT NULL,
        currency char(3) NOT NULL,
        discount numeric(5,4),
        coupons text[],
        note text,
        placed_from inet,
        ordered_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE order_items (
        order_id bigint NOT NULL,
        line smallint NOT NULL,
        product_id integer NOT NULL,
        quantity integer NOT NULL,
        unit_price numeric(12,2) NOT NULL,
        is_gift boolean NOT NULL DEFAULT false,
        personalisation jsonb,
        ordered_on date NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (order_id, line)
    )
    """,
)

NAMES = ("customers", "products", "orders", "order_items")

TOUCH: Sequence[str] = (
    """
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
            NEW.updated_at := CASE WHEN TG_ARGV[0] = 'zoned' THEN now() ELSE now() AT TIME ZONE 'UTC' END;
        END IF;
        RETURN NEW;
    END $$
    """,
    *(
        f"CREATE TRIGGER touch BEFORE UPDATE ON {name} FOR EACH ROW "
        f"EXECUTE FUNCTION touch('{'local' if name == 'products' else 'zoned'}')"
        for name in NAMES
    ),
    *(f"CREATE INDEX {name}_updated_at ON {name} (updated_at)" for name in NAMES),
)
"""A change of a row moves its ``updated_at`` to its transaction's start, as most applications have it."""

DICE = """
CREATE FUNCTION pg_temp.dice(seed bigint, n bigint, sides bigint) RETURNS bigint IMMUTABLE LANGUAGE sql
AS 'SELECT abs(hashint8extended(n, seed) % sides)'
"""
"""The same number from 0 to ``sides`` - 1 for the same seed and n."""

FILL: Sequence[str] = (
    r"""
    INSERT INTO customers
    SELECT n, 'customer' || n || '@example.com',
        CASE n % 40
            WHEN 1 THEN '' WHEN 2 THEN 'Zoë "Z" O''Hara' WHEN 3 THEN E'Ann\nof two lines' WHEN 4 THEN '李 小龍'
            WHEN 5 THEN '🙂 smile' WHEN 6 THEN E'tab\tand \\ backslash' WHEN 7 THEN ' spaces ' WHEN 8 THEN 'NULL'
            ELSE 'Customer ' || n END,
        CASE WHEN n % 9 > 0 THEN (ARRAY['US', 'DE', 'JP', 'BR'])[1 + pg_temp.dice($1, n, 4)] END,
        CASE WHEN n % 7 > 0 THEN md5($1::text || n)::uuid END,
        CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END,
        CASE WHEN n % 5 > 0 THEN DATE '1940-01-01' + pg_temp.dice($1 + 1, n, 25000)::int END,
        CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'null'::jsonb
            ELSE jsonb_build_object('size', n % 46, 'likes', jsonb_build_array('a "b"', NULL, 1.50), 'vip', n % 2 = 0)
            END,
        CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}' ELSE ARRAY['tag' || n % 10, NULL, 'with, comma', 'say "hi"'] END,
        CASE WHEN n % 6 > 0 THEN ('10.' || n % 200 || '.0.1/' || 8 + n % 24)::inet END,
        CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN round(n / 3.0, 6) ELSE n * 100 END,
        CASE WHEN n % 8 > 0 THEN make_interval(hours => (n % 50)::int, mins => 7, secs => n % 60 + 0.25) END,
        CASE WHEN n % 97 > 0 THEN $2::timestamptz - make_interval(mins => 60 + pg_temp.dice($1 + 2, n, $3)::int) END,
        CASE WHEN n % 199 > 0 THEN $2::timestamptz - make_interval(secs => 1 + pg_temp.dice($1 + 3, n, 3600)) END,
        NULL
    FROM generate_series(1, $4::bigint) n
    """,
    r"""
    INSERT INTO products
    SELECT n, 'SKU' || lpad(n::text, 6, '0'), 'Product ' || n,
        CASE n WHEN 1 THEN repeat('A very long text with "quotes", 長い and \ more. ', 22000) WHEN 2 THEN ''
            WHEN 3 THEN E'line one\r\nline two' ELSE 'Text of product ' || n END,
        (100 + pg_temp.dice($1, n, 90000)) / 100.0,
        CASE WHEN n % 11 > 0 THEN n / 7.0 END,
        CASE n WHEN 4 THEN 'NaN' WHEN 5 THEN 'Infinity' ELSE n / 3.0 END,
        pg_temp.dice($1 + 1, n, 900),
        CASE WHEN n % 3 > 0 THEN ('{"colour" : "red",  "sizes":[' || n || ', 1.0e2]}')::json END,
        CASE WHEN n % 4 > 0 THEN ARRAY[round(n / 7.0, 9), NULL, 12.50] END,
        CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN '{}' ELSE ARRAY[n, NULL, n + 1] END,
        CASE WHEN n % 10 = 0 THEN decode(md5(n::text), 'hex') WHEN n % 10 = 1 THEN ''::bytea END,
        CASE WHEN n % 3 > 0 THEN TIME '06:30' + make_interval(secs => n * 61.5) END,
        $2::timestamptz AT TIME ZONE 'UTC' - make_interval(secs => 1 + pg_temp.dice($1 + 2, n, $3 * 60)),
        CASE WHEN n % 50 = 0 THEN $2::timestamptz AT TIME ZONE 'UTC' - interval '1 day' END
    FROM generate_series(1, greatest($4::bigint / 4, 10)) n
    """,
    """
    INSERT INTO orders
    SELECT n, 1 + pg_temp.dice($1, n, $4), 'placed', 0, 'USD',
        CASE WHEN n % 6 = 0 THEN 0.1250 END,
        CASE n % 10 WHEN 0 THEN ARRAY['SPRING', 'O''FF'] WHEN 1 THEN '{}'::text[] END,
        CASE n % 20 WHEN 0 THEN E'leave at the door\n"please"' WHEN 1 THEN '' END,
        CASE WHEN n % 2 = 0 THEN '2001:db8::1'::inet END,
        $2::timestamptz - make_interval(mins => 60 + ($3 * ($4 * 5 - n) / ($4 * 5))::int),
        $2::timestamptz - make_interval(mins => 1 + ($3 * ($4 * 5 - n) / ($4 * 5))::int)
    FROM generate_series(1, $4::bigint * 5) n
    """,
    """
    INSERT INTO order_items
    SELECT o.order_id, line, 1 + pg_temp.dice($1, o.order_id * 10 + line, greatest($4::bigint / 4, 10)),
        1 + pg_temp.dice($1 + 1, o.order_id * 10 + line, 5),
        (100 + pg_temp.dice($1 + 2, o.order_id * 10 + line, 9900)) / 100.0,
        line = 3,
        CASE WHEN line = 3 THEN '{"text": "For \\"you\\""}'::jsonb END,
        (o.ordered_at AT TIME ZONE 'UTC')::date,
        o.updated_at
    FROM orders o, generate_series(1, 1 + pg_temp.dice($1 + 3, o.order_id, 3)) line
    WHERE $2::timestamptz IS NOT NULL AND $3::bigint IS NOT NULL
    """,
    """
    UPDATE orders o SET total = i.total,
        status = (ARRAY['placed', 'paid', 'shipped', 'delivered', 'cancelled'])
            [1 + pg_temp.dice($1, o.order_id, 5)]::order_status
    FROM (SELECT order_id, sum(quantity * unit_price) AS total FROM order_items GROUP BY order_id) i
    WHERE i.order_id = o.order_id AND $2::timestamptz IS NOT NULL AND $3::bigint IS NOT NULL AND $4::bigint > 0
    """,
)
"""Parameters of each: the seed, the moment that everything lies before, minutes of history, the number of customers."""
