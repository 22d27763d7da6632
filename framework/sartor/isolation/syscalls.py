"""The numbers of Linux's system calls that an isolated plugin may not make, by machine.

They are part of the kernel's stable interface: numbers are never given anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FIRST_UNKNOWN", "MACHINES", "Machine"]

FIRST_UNKNOWN = 470
"""Calls from here on were not there when this was written."""

# Since Linux 5.1, new calls have the same number on all machines.
_COMMON = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "file_setattr": 469,
}

_X86_64 = """
ioctl 16 shmget 29 shmat 30 socket 41 clone 56 fork 57 vfork 58 execve 59 kill 62 semget 64 msgget 68 fcntl 72
chmod 90 fchmod 91 chown 92 fchown 93 lchown 94 ptrace 101 syslog 103 utime 132 personality 135 setpriority 141
sched_setparam 142 sched_setscheduler 144 pivot_root 155 prctl 157 chroot 161 acct 163 mount 165 umount2 166
swapon 167 swapoff 168 reboot 169 init_module 175 delete_module 176 setxattr 188 lsetxattr 189 fsetxattr 190
removexattr 197 lremovexattr 198 fremovexattr 199 tkill 200 sched_setaffinity 203 tgkill 234 utimes 235 mq_open 240
kexec_load 246 add_key 248 request_key 249 keyctl 250 ioprio_set 251 inotify_init 253 migrate_pages 256 fchownat 260
futimesat 261 fchmodat 268 unshare 272 move_pages 279 utimensat 280 inotify_init1 294 rt_sigqueueinfo 129
rt_tgsigqueueinfo 297 perf_event_open 298 fanotify_init 300 prlimit64 302 name_to_handle_at 303 open_by_handle_at 304
setns 308 process_vm_readv 310 process_vm_writev 311 kcmp 312 finit_module 313 sched_setattr 314 memfd_create 319
kexec_file_load 320 bpf 321 execveat 322 userfaultfd 323
"""

_AARCH64 = """
setxattr 5 lsetxattr 6 fsetxattr 7 removexattr 14 lremovexattr 15 fremovexattr 16 fcntl 25 inotify_init1 26 ioctl 29
ioprio_set 30 umount2 39 mount 40 pivot_root 41 chroot 51 fchmod 52 fchmodat 53 fchownat 54 fchown 55 utimensat 88
acct 89 personality 92 unshare 97 kexec_load 104 init_module 105 delete_module 106 syslog 116 ptrace 117
sched_setparam 118 sched_setscheduler 119 sched_setaffinity 122 kill 129 tkill 130 tgkill 131 rt_sigqueueinfo 138
setpriority 140 reboot 142 prctl 167 mq_open 180 msgget 186 semget 190 shmget 194 shmat 196 socket 198 add_key 217
request_key 218 keyctl 219 clone 220 execve 221 swapon 224 swapoff 225 migrate_pages 238 move_pages 239
rt_tgsigqueueinfo 240 perf_event_open 241 prlimit64 261 fanotify_init 262 name_to_handle_at 264 open_by_handle_at 265
setns 268 process_vm_readv 270 process_vm_writev 271 kcmp 272 finit_module 273 sched_setattr 274 memfd_create 279
bpf 280 execveat 281 userfaultfd 282 kexec_file_load 294
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor, as the kernel tells it."""

    arch: int
    """What `seccomp_data.arch` holds."""
    calls: Mapping[str, int]


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return {**dict(zip(words[::2], map(int, words[1::2]), strict=True)), **_COMMON}


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(0xC000003E, _table(_X86_64)),
    "aarch64": Machine(0xC00000B7, _table(_AARCH64)),
}
"""By what `os.uname().machine` says."""
