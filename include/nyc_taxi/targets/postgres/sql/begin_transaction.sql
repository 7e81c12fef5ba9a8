SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET LOCAL tcp_keepalives_idle = '60s';
SET LOCAL tcp_keepalives_interval = '10s';
SET LOCAL tcp_keepalives_count = 6;
SET LOCAL tcp_user_timeout = '120s';
