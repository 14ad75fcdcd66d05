"""Where the pages are, and who is let in for how long. Importing this file imports nothing heavy.

>>> DashboardConfig(session_hours=0)
Traceback (most recent call last):
ValueError: dashboard.session_hours must be above 0, got 0. Set OMNI_DASHBOARD__SESSION_HOURS.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DashboardConfig:
    """The pages' address and manners."""

    host: str = "127.0.0.1"
    """Address to listen at. Let others in through a proxy with https, and name it in `names`."""
    port: int = 8766
    """Port to listen at; 0 takes a free one."""
    names: tuple[str, ...] = ()
    """Host names by which browsers may reach the pages, beside the address itself; others are refused."""
    is_https: bool = False
    """Browsers come through https, so the session's cookie is sent on nothing else."""
    session_hours: float = 24 * 7
    """Hours after which somebody has to sign in again."""
    idle_hours: float = 24.0
    """Hours without a request after which somebody has to sign in again."""
    link_hours: float = 24.0
    """Hours for which a one-time sign-in link is good."""
    approver_differs: bool = False
    """Whoever asked for a round may not approve the version that came of it."""
    mlflow_url: str = ""
    """Where people look at MLflow, for links to it; empty: nowhere."""

    def __post_init__(self) -> None:
        for name in ("session_hours", "idle_hours", "link_hours"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"dashboard.{name} must be above 0, got {value}. Set OMNI_DASHBOARD__{name.upper()}.")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"dashboard.port must lie in 0 to 65535, got {self.port}. Set OMNI_DASHBOARD__PORT.")
        if self.mlflow_url and not self.mlflow_url.startswith(("http://", "https://")):
            raise ValueError(
                f"dashboard.mlflow_url must begin with http:// or https://, got {self.mlflow_url!r}. "
                "Set OMNI_DASHBOARD__MLFLOW_URL."
            )
