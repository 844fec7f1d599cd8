"""Other people's nets and trainers under a watch; each test skips where its package is missing."""
