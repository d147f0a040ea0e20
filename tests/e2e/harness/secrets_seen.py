"""Every secret that a test meets is written down, so that the last suite can look for it in every log."""

from harness.places import SECRETS_SEEN


def remember(*secrets: str | None) -> None:
    """Notes tokens, codes, verifiers, client secrets and passwords; what is too short to be told apart is refused."""
    with SECRETS_SEEN.open("a", encoding="utf-8") as notes:
        for secret in secrets:
            if secret is None:
                continue
            if len(secret) < 8:
                raise ValueError("too short to be looked for in a log")
            notes.write(secret + "\n")


def recall() -> set[str]:
    """All secrets of this run."""
    return set(SECRETS_SEEN.read_text(encoding="utf-8").split()) if SECRETS_SEEN.exists() else set()
