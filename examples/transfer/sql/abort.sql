-- Phase two, the decision is Abort: drop what was prepared, if anything was, and see to it that nothing is prepared later.
\set ON_ERROR_STOP on
\getenv transaction BACKSTAY_TRANSACTION
\getenv output BACKSTAY_OUTPUT
SET lock_timeout = '1s';
SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = :'transaction') AS is_prepared \gset
\if :is_prepared
  ROLLBACK PREPARED :'transaction';
\endif
-- Waits for a prepare whose psql is dead and whose session is not. Should that one prepare after all, this fails, and the next attempt finds it.
INSERT INTO transfers (transaction) VALUES (:'transaction') ON CONFLICT DO NOTHING;
SELECT EXISTS (SELECT FROM transfers WHERE transaction = :'transaction' AND account IS NOT NULL) AS is_committed \gset
\if :is_committed
  \o :output
  \qecho '{"error": {"type": "HeuristicCommit", "message": "somebody has committed it by hand"}}'
\endif
