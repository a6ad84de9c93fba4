"""Rules that a schema cannot express: limits in bytes, and the visible characters of names."""

import schemathesis

# The limits in bytes of texts that name something.
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
