/* The mount interface of Linux 5.12, by descriptors only: no path is walked twice and no symlink is followed. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From linux/fcntl.h and linux/mount.h, the same numbers everywhere. */
enum { RECURSIVE = 0x8000, EMPTY = 0x1000, PRIVATE = 1 << 18, MOVE_BOTH_EMPTY = 0x04 | 0x40, CLONE = 1 };

noreturn void refuse(const char *path) {
    const char *reason = errno == ELOOP ? "a symbolic link leads there" : strerror(errno);
    fail(CANNOT_CONFINE, "cannot make the sandbox: ", path, ": ", reason, NULL);
}

/* A place below `top`, which is `/` for the path. */
int opened_in(int top, const char *path, bool follows_links) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    how.resolve |= follows_links ? 0 : RESOLVE_NO_SYMLINKS;
    return (int)syscall(SYS_openat2, top, path, &how, sizeof how);
}

/* A copy of what is mounted at `source` and below it, in no place yet; it hears no more of the host's mounts. */
int cloned(int source, const char *path, unsigned set, unsigned clear) {
    struct mount_attr wanted = {.attr_set = set, .attr_clr = clear, .propagation = PRIVATE};
    int tree = (int)syscall(SYS_open_tree, source, "", CLONE | O_CLOEXEC | EMPTY | RECURSIVE);
    if (tree < 0 || syscall(SYS_mount_setattr, tree, "", EMPTY | RECURSIVE, &wanted, sizeof wanted))
        refuse(path);
    return tree;
}

/* A new file system of a type, in no place yet; `options` are pairs of words that end with NULL. */
int filesystem(const char *type, const char *const *options, unsigned attributes) {
    int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    for (; context >= 0 && *options; options += 2)
        if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0))
            refuse(type);
    if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        refuse(type);
    int made = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
    if (made < 0)
        refuse(type);
    close(context);
    return made;
}

void moved_to(int tree, int place, const char *path) {
    if (syscall(SYS_move_mount, tree, "", place, "", MOVE_BOTH_EMPTY))
        refuse(path);
}

void make_read_only(int place, const char *path) {
    struct mount_attr wanted = {.attr_set = MOUNT_ATTR_RDONLY};
    if (syscall(SYS_mount_setattr, place, "", EMPTY, &wanted, sizeof wanted))
        refuse(path);
}
