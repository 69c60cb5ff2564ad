-- Phase one: do everything that may fail, and keep it so that it can be committed whatever happens to this process or to the server.
\set ON_ERROR_STOP on
\getenv transaction BACKSTAY_TRANSACTION
\getenv output BACKSTAY_OUTPUT
SET lock_timeout = '5s';
SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = :'transaction') AS is_prepared \gset
\if :is_prepared
  \quit
\endif
BEGIN;
-- One that comes too late finds its name taken: abort.sql was here. So does one that comes twice.
INSERT INTO transfers (transaction, account, amount) VALUES (:'transaction', :'account', :'amount');
UPDATE accounts SET balance = balance + :'amount' WHERE name = :'account' RETURNING balance >= 0 AS is_covered \gset
\if :is_covered
  PREPARE TRANSACTION :'transaction';
\else
  ROLLBACK;
  \o :output
  \qecho '{"error": {"type": "OutOfMoney", "message": "the account does not hold so much"}}'
\endif
