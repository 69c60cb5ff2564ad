CREATE TABLE accounts (name text PRIMARY KEY, balance integer NOT NULL);
CREATE TABLE inbox (key text PRIMARY KEY, answer jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message jsonb NOT NULL);
