"""The warehouse: what the topics hold, as ClickHouse tables; one code for a server and for the engine in a folder."""
