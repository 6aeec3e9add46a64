//! Behaviour of the Swarm as its callers see it.
