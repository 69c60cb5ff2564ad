-- The books of one bank: what its accounts hold, and which transfers it took part in.
CREATE TABLE accounts (
  name text PRIMARY KEY,
  balance bigint NOT NULL
);
CREATE TABLE transfers (
  transaction text PRIMARY KEY,        -- Backstay's name for it, the same at both banks
  account text REFERENCES accounts,    -- null: it was aborted, and nobody prepares it any more
  amount bigint,
  at timestamptz NOT NULL DEFAULT now()
);
