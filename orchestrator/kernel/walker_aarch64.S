// The walker of system call tapes for aarch64: see walker_x86_64.S. x19: registers, x20: this entry.
    .text
walk:
    stp     x19, x20, [sp, #-16]!
    mov     x19, x0
    mov     x20, x1
    mov     x0, x2
    mov     x1, x3
    mov     x8, #435                        // clone3
    svc     #0
    cbz     x0, next                        // we are the thread
    ldp     x19, x20, [sp], #16
    ret

    // An argument is a number, or the number of the register that holds it.
    .macro argument register, place
    ldr     \register, [x20, #16 + 8 * \place]
    tbz     w9, #\place, 1f
    ldr     \register, [x19, \register, lsl #3]
1:
    .endm

next:
    ldrb    w9, [x20, #4]
    argument x0, 0
    argument x1, 1
    argument x2, 2
    argument x3, 3
    argument x4, 4
    argument x5, 5
    ldrsw   x8, [x20]
    cmn     x8, #1
    b.eq    compare
    cmn     x8, #2
    b.eq    jump
    svc     #0
done:
    ldrb    w10, [x20, #5]
    str     x0, [x19, x10, lsl #3]
    cmn     x0, #4095
    b.hs    failed
    mov     w10, #0
    cbz     x0, skip                        // w10: the next entry, or the one `then` further
    ldrh    w10, [x20, #6]
skip:
    add     w10, w10, #1
    add     x20, x20, x10, lsl #6
    b       next

    // call -1: -args[3] where args[0] & args[1] equals args[2], else 0.
compare:
    and     x0, x0, x1
    cmp     x0, x2
    mov     x0, #0
    b.ne    done
    neg     x0, x3
    b       done

    // call -2: on with the tape at address args[0].
jump:
    mov     x20, x0
    b       next

failed:
    neg     w0, w0
    ldrh    w11, [x20, #8]
    ldrh    w10, [x20, #10]
    cmp     w0, w11
    b.eq    skip
    ldrh    w11, [x20, #12]
    ldrh    w10, [x20, #14]
    cmp     w0, w11
    b.eq    skip
    mov     w12, #0xffff                    // whatever went wrong
    cmp     w11, w12
    b.eq    skip
    str     x20, [x19, #8]                  // register 1: where the tape ended, register 2: with what errno
    str     x0, [x19, #16]
    mov     x0, #127
    mov     x8, #93                         // exit: of the one thread this is
    svc     #0
