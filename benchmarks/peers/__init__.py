"""hospproxy beside other proxies on one machine, in turn: what each request costs in processor time and memory."""
