"""What the tests of TLS need: certificates, a peer, a node."""
