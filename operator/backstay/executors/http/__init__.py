"""HTTP calls: to hosts that the installation allows, to addresses that were checked, and no further than a step's time goes.

execute   one call: what it needs, what it came to
secrets   headers whose values come from Secrets
resolver  a host's addresses, all of them judged, and a connection to none but these
exchange  one request, and the redirects that are followed
answers   an answer, read within limits
room      how many calls go on at the same time
"""

from backstay.executors.http.execute import execute

__all__ = ["execute"]
