CREATE TYPE mood AS ENUM ('glad', 'sad; DROP TABLE');

CREATE DOMAIN cents AS numeric(9,2) CHECK (value >= 0);

CREATE TABLE everything (
    id integer PRIMARY KEY,
    small smallint,
    big bigint,
    single real,
    twice double precision,
    exact numeric(38,10),
    price cents,
    yes boolean,
    name text,
    code char(5),
    short varchar(20),
    raw bytea,
    born date,
    at_time time,
    naive timestamp,
    aware timestamptz,
    doc jsonb,
    plain_doc json,
    tags text[],
    numbers int[],
    prices numeric(8,3)[],
    days date[],
    token uuid,
    feeling mood,
    span interval,
    address inet,
    "Odd ""name""; --" text,
    updated_at timestamptz NOT NULL
);

INSERT INTO everything VALUES (
    1, -32768, 9223372036854775807, 1.5, 0.1, 1234567890123456789012345678.0123456789, 1.10, true, 'plain', 'ab', 'x',
    '\x00ff10', '1969-07-20', '23:59:59.999999', '2001-02-03 04:05:06.789', '2001-02-03 04:05:06.789+02',
    '{"b": 1, "a": [null, 1.50]}', '{"b": 1,  "a": 2}', '{a,NULL,"with, comma","quote\""}', '{1,NULL,-3}', '{1.5,2}',
    '{2024-02-29}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'sad; DROP TABLE', '1 day 02:03:04', '10.0.0.1/8', 'odd',
    now()
);

INSERT INTO everything (id, updated_at) VALUES (2, now());

INSERT INTO everything VALUES (
    3, 0, -1, '-0', 'NaN', 0, 0, false, '', '', '', '', '0001-01-01', '00:00', '9999-12-31 23:59:59.999999',
    '1900-01-01 00:00+00', '{}', '""', '{}', '{}', '{}', '{}', '00000000-0000-0000-0000-000000000000', 'glad', '0', '::1',
    '', now()
);

INSERT INTO everything VALUES (
    4, 1, 1, 'Infinity', '-Infinity', -0.0000000001, 99.99, true, repeat('huge ✓ ', 200000), 'ü', E'tab\tnew\nline',
    decode(repeat('ab', 100000), 'hex'), '2024-02-29', '12:00:00.000001', '2024-02-29 12:00', '2024-02-29 12:00+14',
    '"a\u00e9"', 'null', array_fill('z'::text, ARRAY[5000]), '{2147483647}', '{-99999.999}', '{0001-01-01}',
    gen_random_uuid(), 'glad', '-1 year', '192.168.0.0/16', E'\\ " '' ; --', now()
)
