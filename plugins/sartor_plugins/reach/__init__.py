"""What plugins share whose tools reach out: to a service, a database, an MCP server."""
