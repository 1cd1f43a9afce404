"""Writers, without sockets."""
