"""Records every secret of a run, for the suite that searches the logs for them."""

from harness.places import SECRETS_SEEN


def remember(*secrets: str | None) -> None:
    """Records tokens, codes, verifiers, client secrets and passwords; refuses those too short for a search."""
    with SECRETS_SEEN.open("a", encoding="utf-8") as notes:
        for secret in secrets:
            if secret is None:
                continue
            if len(secret) < 8:
                raise ValueError("too short for a search in logs")
            notes.write(secret + "\n")


def recall() -> set[str]:
    """All secrets of this run."""
    return set(SECRETS_SEEN.read_text(encoding="utf-8").split()) if SECRETS_SEEN.exists() else set()
