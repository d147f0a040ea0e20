"""The tools of the tests: real processes, a user with a browser, an OAuth client."""
