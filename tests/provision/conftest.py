"""What these tests share with those of GitOps."""

from tests.gitops.conftest import lab

__all__ = ["lab"]
