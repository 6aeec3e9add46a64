//! Transport.
/// Who asks: in the extensions of every call.
pub struct Caller;
