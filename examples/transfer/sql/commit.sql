-- Phase two, the decision is Commit: make it final. It may have been done by an attempt before this one.
\set ON_ERROR_STOP on
\getenv transaction BACKSTAY_TRANSACTION
\getenv output BACKSTAY_OUTPUT
SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = :'transaction') AS is_prepared \gset
\if :is_prepared
  COMMIT PREPARED :'transaction';
\endif
SELECT EXISTS (SELECT FROM transfers WHERE transaction = :'transaction' AND account IS NOT NULL) AS is_done \gset
\if :is_done
\else
  -- Somebody has rolled it back by hand. No other attempt can help: a person must.
  \o :output
  \qecho '{"error": {"type": "HeuristicRollback", "message": "it was prepared, and is neither prepared nor committed any more"}}'
\endif
