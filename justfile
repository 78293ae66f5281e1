# What CI runs.
ready:
    .ci/run

# Accepts changed snapshots after review.
snapshots:
    cargo insta review
