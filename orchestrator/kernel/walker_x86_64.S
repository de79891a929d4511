# The walker of system call tapes for x86-64; `tape.py` describes the tape, `walker.py` keeps these bytes and calls them.
#
#   long walk(long *registers, const struct entry *first, struct clone_args *thread, size_t size)
#
# Makes a thread (clone3 with `thread`) which walks the tape; returns its id, or -errno where there is none. The thread
# and the processes it makes share the caller's memory and its stack pointer, so nothing here but `walk` itself, in the
# caller, may touch the stack: what is to be kept lies in rbx (registers) and r12 (this entry), which system calls leave
# alone (they clobber rax, rcx and r11).
#
#   struct entry { int32 call; uint8 from_register, into; uint16 then; int16 errno_a, skip_a, errno_b, skip_b; long args[6]; }

    .intel_syntax noprefix
    .text
walk:
    push    rbx
    push    r12
    mov     rbx, rdi
    mov     r12, rsi
    mov     rdi, rdx
    mov     rsi, rcx
    mov     eax, 435                        # clone3
    syscall
    test    rax, rax
    jz      next                            # we are the thread
    pop     r12
    pop     rbx
    ret

    # An argument is a number, or the number of the register that holds it.
    .macro argument register, place
    mov     \register, [r12 + 16 + 8 * \place]
    test    byte ptr [r12 + 4], 1 << \place
    jz      1f
    mov     \register, [rbx + 8 * \register]
1:
    .endm

next:
    argument rdi, 0
    argument rsi, 1
    argument rdx, 2
    argument r10, 3
    argument r8, 4
    argument r9, 5
    mov     eax, [r12]
    cmp     eax, -1
    je      compare
    cmp     eax, -2
    je      jump
    syscall
done:
    movzx   ecx, byte ptr [r12 + 5]
    mov     [rbx + 8 * rcx], rax
    cmp     rax, -4095
    jae     failed
    test    rax, rax
    jz      onward                          # rcx: the next entry, or the one `then` further
    movzx   ecx, word ptr [r12 + 6]
    jmp     skip
onward:
    xor     ecx, ecx
skip:
    inc     ecx
    shl     ecx, 6
    add     r12, rcx
    jmp     next

    # call -1: -args[3] where args[0] & args[1] equals args[2], else 0.
compare:
    xor     eax, eax
    and     rdi, rsi
    cmp     rdi, rdx
    jne     done
    mov     rax, r10
    neg     rax
    jmp     done

    # call -2: on with the tape at address args[0].
jump:
    mov     r12, rdi
    jmp     next

failed:
    neg     eax
    movzx   ecx, word ptr [r12 + 10]
    cmp     ax, [r12 + 8]
    je      skip
    movzx   ecx, word ptr [r12 + 14]
    cmp     ax, [r12 + 12]
    je      skip
    cmp     word ptr [r12 + 12], -1         # whatever went wrong
    je      skip
    mov     [rbx + 8], r12                  # register 1: where the tape ended, register 2: with what errno
    mov     [rbx + 16], rax
    mov     edi, 127
    mov     eax, 60                         # exit: of the one thread this is
    syscall
