"""First-party plugins: each a file or a folder, on public hooks only."""
