"""The enforcer: a bot's side door over HTTPS. It signs with a key that it cannot show, and waits for the verdict."""
