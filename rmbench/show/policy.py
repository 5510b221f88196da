"""The Content-Security-Policy of the pages: their own style and script, and nothing else."""

import base64
import hashlib

__all__ = ["content_policy"]


def content_policy(style: str, script: str) -> str:
    """Return the policy of a page; hashes as in CSP Level 3, section 2.3.1."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}';"
        " base-uri 'none'; form-action 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )
