"""NEO: distributed, replicated, transactional storage for ZODB."""
