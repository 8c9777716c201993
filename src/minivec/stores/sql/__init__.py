"""Databases of tables that are one file: DuckDB and SQLite."""
