"""Building: a Dockerfile becomes an image of the store, on our own runtime. Docker's daemon is not needed.

    dockerfile   text → instructions, each with its line and column          words     $VARIABLES in them     (pure)
    plan         instructions → stages, what each needs, which are skipped                                    (pure)
    ignore, context   what of the context's directory is to be seen, and the digest of its content
    copying      COPY and ADD: files into a layer                            packing   a layer's directory → its blob
    state        the configuration as the instructions change it                                              (pure)
    builder      the stages side by side, each step from the cache or made

A step is known by what it means: the steps before it, its own words with their variables filled in, and the content of
what it reads. Reference: https://docs.docker.com/reference/dockerfile/.
"""
