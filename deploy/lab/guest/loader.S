# The guest's boot loader: the code of its first sector. It asks the BIOS for 127 sectors at a time, where GRUB asks for a seventh of
# that: while a BIOS waits for a disk, an emulated CPU burns a real one, and that took longer than all else in a boot.
# The kernel and its initrd lie each in one piece on the disk; build.sh writes into the second sector where, and the command line.
# loader.bin is made of this by hand, so that no build needs an assembler; loader.test.ts compares them:
#     as --32 -o loader.o loader.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o loader.bin loader.o
# Memory: the second sector at 0x7e00, the kernel's real-mode part at 0x10000 with its command line at 0x1e000, what was just
# read at 0x20000.
.code16
.globl _start
.set SETUP, 0x1000          # segments
.set BUFFER, 0x2000
.set COMMAND_LINE, 0xe000   # in SETUP
.set MOST, 127              # sectors in one read

# The second sector
.set setup_sectors, 0x7e00  # the kernel's real-mode part
.set kernel_at, 0x7e04
.set kernel_sectors, 0x7e08 # without that
.set initrd_at, 0x7e0c
.set initrd_sectors, 0x7e10
.set command_line, 0x7e14

_start:
    ljmp $0, $begin
begin:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    movb %dl, drive
    call read
    movl $BUFFER << 16, packet + 4

    # the real-mode part, and behind it, esi goes on, the rest at 1 MiB
    movl kernel_at, %esi
    movl setup_sectors, %ecx
    movl $0x10000, %edi
    call load
    movl kernel_sectors, %ecx
    movl $0x100000, %edi
    call load
    movw $SETUP, %ax
    movw %ax, %fs

    # With less memory than the kernel wants from 16 MiB on, and 6 MiB for the initrd, it would start again for ever, and burn a CPU
    movw $0xe801, %ax
    xorw %cx, %cx
    int $0x15
    movl %fs:0x260, %eax
    shrl $16, %eax
    addw $0x60, %ax
    cmpw %ax, %bx
    jb fail

    # the initrd 4 MiB below the end of memory, of which the kernel looks at no more than 2 GiB for it
    cmpw $0x7f00, %bx
    jbe 1f
    movw $0x7f00, %bx
1:  movzwl %bx, %edi
    shll $16, %edi
    addl $0xc00000, %edi
    movl %edi, %fs:0x218
    movl initrd_sectors, %ecx
    movl initrd_at, %esi
    movl %ecx, %eax
    shll $9, %eax
    movl %eax, %fs:0x21c
    call load

    # what the kernel's boot protocol asks for
    movb $0xff, %fs:0x210
    orb $0x80, %fs:0x211
    movw $COMMAND_LINE - 0x200, %fs:0x224
    movl $(SETUP << 4) + COMMAND_LINE, %fs:0x228
    movw $SETUP, %ax
    movw %ax, %es
    movw $command_line, %si
    movw $COMMAND_LINE, %di
2:  lodsb
    stosb
    testb %al, %al
    jnz 2b
    cli
    movw $SETUP, %ax
    movw %ax, %ds
    movw %ax, %gs
    movw %ax, %ss
    movw $COMMAND_LINE, %sp
    ljmp $SETUP + 0x20, $0

# Reads ecx sectors from number esi to the address edi; all three are then behind what was read.
load:
    movl $MOST, %eax
    cmpl %eax, %ecx
    jae 1f
    movl %ecx, %eax
1:  movw %ax, packet + 2
    movl %esi, packet + 8
    call read
    # from the buffer to where it belongs
    movl %edi, target + 2
    movb $0x93, target + 5
    pushal
    roll $8, %edi
    movl %edi, %ebx
    movb %bl, target + 7
    movw packet + 2, %cx
    shlw $8, %cx
    movw $table, %si
    movb $0x87, %ah
    int $0x15
    jc fail
    popal
    movzwl packet + 2, %eax
    addl %eax, %esi
    subl %eax, %ecx
    shll $9, %eax
    addl %eax, %edi
    testl %ecx, %ecx
    jnz load
    ret

# Does what the packet says.
read:
    pushal
    movb $0x42, %ah
    movb drive, %dl
    movw $packet, %si
    int $0x13
    jc fail
    popal
    ret

fail:
    movw $0x0e45, %ax       # an E
    xorw %bx, %bx
    int $0x10
3:  hlt
    jmp 3b

# First of all, the second sector
packet:
    .byte 16, 0
    .word 1                 # sectors
    .word 0x7e00, 0         # where to: offset, segment
    .long 1, 0              # the first of them

# What int 15h copies between: two descriptors, amid room for those of the BIOS
table:
    .fill 16, 1, 0
    .word 0xffff, 0
    .byte BUFFER >> 12, 0x93, 0, 0
target:
    .word 0xffff, 0
    .byte 0, 0x93, 0, 0
    .fill 16, 1, 0

drive:
    .byte 0
