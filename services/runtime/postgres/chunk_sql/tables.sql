-- What chunked jobs keep in the database they work in, in the first schema of their search path. May run again.

CREATE TABLE IF NOT EXISTS tidegate_jobs (
    job text PRIMARY KEY,
    run_id text NOT NULL,
    prepared_at timestamptz NOT NULL DEFAULT now()
);
-- "run_id" says whose snapshot there is: chunks of any other run are refused.

CREATE TABLE IF NOT EXISTS tidegate_chunks (
    run_id text NOT NULL,
    chunk_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'marked', 'done', 'split')),
    fencing_token bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    planned_rows bigint NOT NULL,
    updated_rows bigint,
    planned_at timestamptz NOT NULL DEFAULT now(),
    marked_at timestamptz,
    done_at timestamptz,
    PRIMARY KEY (run_id, chunk_id)
);
