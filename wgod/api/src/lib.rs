//! The control API of wgod: one JSON-RPC trait and its types, for both ends of the socket.
#![forbid(unsafe_code)]
