"""Which hosts HTTP calls may reach: pure rules, no I/O (DESIGN, promise 9; docs/decisions/0016).

urls       a URL, read strictly: what could be read in two ways is refused
addresses  what kind of place an IP address is: public, private, loopback, a metadata service …
rules      what the installation allows, and why a host, or an address that it leads to, is refused

Below `settings`, because the installation's rules are read with them, and below `api`, because linting judges a URL that is written out.
"""
