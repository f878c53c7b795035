"""The explorer: a session that answers questions about runs, a server that carries them, and a page that asks."""
