"""An auth manager under which one user may not see one of the Dags."""

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class LimitedRights(SimpleAuthManager):
    """The simple auth manager, except that the user `stranger` may not see ingest_data."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.get_name() == "stranger" and details is not None and details.id == "ingest_data":
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
