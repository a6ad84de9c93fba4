"""What no schema can say: limits in bytes, and which characters of a name can be seen."""

import schemathesis

# Bytes of the texts that are names of something.
LIMITS = {"user": 128, "id": 128, "key": 64, "nonce": 64, "from": 128}


def fits(name, value):
    if isinstance(value, dict):
        return all(fits(*pair) for pair in value.items())
    if isinstance(value, list):
        return all(fits("user" if name == "members" else name, each) for each in value)
    if not isinstance(value, str):
        return True
    if name == "name":
        return value.isascii()
    return len(value.encode(errors="replace")) <= LIMITS.get(name, len(value) * 4)


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return fits("", path_parameters or {})


@schemathesis.hook
def filter_query(context, query):
    return fits("", query or {})


@schemathesis.hook
def filter_body(context, body):
    return fits("", body)
