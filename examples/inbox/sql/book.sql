-- Exactly once: the key, the effect and the message are one transaction. Whoever comes again under the same key gets the first answer.
\set ON_ERROR_STOP on
\getenv key BACKSTAY_IDEMPOTENCY_KEY
\getenv output BACKSTAY_OUTPUT
BEGIN;
WITH first AS (
  INSERT INTO inbox (key, answer) VALUES (:'key', jsonb_build_object('account', :'account', 'booked', :amount))
  ON CONFLICT DO NOTHING RETURNING answer
), effect AS (
  UPDATE accounts SET balance = balance + :amount FROM first WHERE name = :'account'
)
INSERT INTO outbox (message) SELECT answer FROM first;
COMMIT;
\pset tuples_only
\pset format unaligned
\o :output
SELECT answer FROM inbox WHERE key = :'key';
