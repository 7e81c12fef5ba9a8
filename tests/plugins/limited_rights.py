"""An auth manager under which two users may not see all Dags."""

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HIDDEN = {"stranger": {"ingest_data"}}
SHOWN = {"outsider": {"flow_code"}}


class LimitedRights(SimpleAuthManager):
    """The simple auth manager, except that `stranger` may not see ingest_data, and `outsider` sees flow_code alone."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        dag_id = details.id if details else None
        if dag_id and dag_id in HIDDEN.get(user.get_name(), ()):
            return False
        if dag_id and dag_id not in SHOWN.get(user.get_name(), {dag_id}):
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
