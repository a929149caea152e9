//! Control over real sockets, with a real node's status behind it.
