#!/bin/sh
# Runs once, when PostgreSQL's data are created. The application's role owns its database and is not a superuser.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -v password="$(cat "${SECRETS:-/run/secrets}/postgres_password")" <<'SQL'
CREATE ROLE flashsale LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE flashsale OWNER flashsale;
SQL
