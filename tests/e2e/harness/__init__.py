"""What the tests drive: real processes, a person with a browser, an OAuth client."""
