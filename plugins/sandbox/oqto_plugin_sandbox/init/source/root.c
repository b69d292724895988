/*
 * The root of the sandbox, step by step as the plan says, out of the host's, which bubblewrap left here for it.
 *
 * bubblewrap would read the whole list of mounts again for each of them, which takes longer than all else together.
 */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LONGEST_PATH = 4096, MOST_PRIVATE = 1024, LONGEST_PART = 1 << 15 };
enum { CONFINED = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, LOCKED = CONFINED | MOUNT_ATTR_RDONLY };
static const char CLOSED[] = ".closed", CONTENT[] = ".content";

/* `/` for the paths of the plan, of the host and of what is made here; and `/proc` for those inside. */
static int host, root, proc;

/* The file systems that were made here. Mount points are made in them and nowhere else, least of all on the host. */
static dev_t privates[MOST_PRIVATE];
static size_t private_count;

static struct stat status_of(int fd, const char *path) {
    struct stat found;
    if (fstat(fd, &found))
        refuse(path);
    return found;
}

static bool is_folder(int fd, const char *path) {
    return S_ISDIR(status_of(fd, path).st_mode);
}

static bool is_private(int fd, const char *path) {
    dev_t device = status_of(fd, path).st_dev;
    for (size_t at = 0; at < private_count; at++)
        if (privates[at] == device)
            return true;
    return false;
}

static int private_folder(const char *mode, const char *bytes) {
    const char *options[] = {"mode", mode, strcmp(bytes, "0") ? "size" : NULL, bytes, NULL};
    int made = filesystem("tmpfs", options, CONFINED);
    if (private_count == MOST_PRIVATE)
        fail(CANNOT_CONFINE, "cannot make the sandbox: more private folders than anybody planned", NULL);
    privates[private_count++] = status_of(made, "tmpfs").st_dev;
    return made;
}

static int place(const char *path, bool for_a_folder);

/* The folder of `path`, which has to be one of ours; `*name` becomes the last name of the path. */
static int folder_of(const char *path, const char **name) {
    char folder[LONGEST_PATH];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : sizeof folder;
    if (length >= sizeof folder)
        fail(CANNOT_CONFINE, "cannot make the sandbox: not a path: ", path, NULL);
    memcpy(folder, path, length);
    strcpy(folder + length, length ? "" : "/");
    *name = slash + 1;
    int found = place(folder, true);
    if (!is_private(found, folder))
        fail(CANNOT_CONFINE, "cannot make the sandbox: ", path, " is not there any more", NULL);
    return found;
}

static int made(const char *path, bool as_a_folder) {
    const char *name;
    int folder = folder_of(path, &name);
    if (as_a_folder ? mkdirat(folder, name, 0755) : mknodat(folder, name, S_IFREG | 0644, 0))
        refuse(path);
    int found = opened_in(folder, name, false);
    close(folder);
    return found;
}

/* Where something is mounted, made if it is missing in a private folder. */
static int place(const char *path, bool for_a_folder) {
    int found = opened_in(root, path, false);
    if (found < 0 && errno == ENOENT)
        found = made(path, for_a_folder);
    if (found < 0)
        refuse(path);
    return found;
}

static void put(int tree, const char *path, bool as_a_folder) {
    int where = place(path, as_a_folder);
    moved_to(tree, where, path);
    close(where);
    close(tree);
}

/* Show what `source` is at `path`. `from` is its name for people. */
static void show(int source, const char *from, const char *path, unsigned set, unsigned clear) {
    put(cloned(source, from, set, clear), path, is_folder(source, from));
    close(source);
}

static int of_host(const char *path, bool follows_links) {
    int found = opened_in(host, path, follows_links);
    if (found < 0)
        refuse(path);
    return found;
}

static bool are_same(int one, int other, const char *path) {
    struct stat first = status_of(one, path), second = status_of(other, path);
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Where what a descriptor holds is now. */
static const char *place_of(const char *descriptor, char *into, size_t size) {
    char link[64];
    joined(link, sizeof link, 0, (const char *const[]){"self/fd/", descriptor, NULL});
    ssize_t length = readlinkat(proc, link, into, size - 1);
    into[length > 0 ? length : 0] = '\0';
    return into;
}

/* The descriptor was opened for the plan: a mount of this namespace shows what it holds, even if that was moved. */
static int planned(const char *descriptor, const char *path) {
    char elsewhere[LONGEST_PATH];
    int held = (int)number(descriptor), found = opened_in(host, path, false);
    if (found < 0 || !are_same(held, found, path))
        found = opened_in(host, place_of(descriptor, elsewhere, sizeof elsewhere), false);
    if (found < 0 || !are_same(held, found, path))
        fail(CANNOT_CONFINE, "cannot make the sandbox: ", path, " was replaced meanwhile", NULL);
    close(held);
    return found;
}

/* ACCESS FD SOURCE DEST */
static void step_bind(char **words) {
    show(planned(words[1], words[2]), words[2], words[3], strcmp(words[0], "rw") ? LOCKED : CONFINED, 0);
}

/* SOURCE DEST: a part of the system, in folders where only root could replace it. */
static void step_system(char **words) {
    show(of_host(words[0], true), words[0], words[1], LOCKED, 0);
}

/* MODE BYTES DEST */
static void step_tmpfs(char **words) {
    put(private_folder(words[0], words[1]), words[2], true);
}

/* DEST */
static void step_folder(char **words) {
    close(place(words[0], true));
}

/* TARGET DEST */
static void step_link(char **words) {
    const char *name;
    int folder = folder_of(words[1], &name);
    if (symlinkat(words[0], folder, name))
        refuse(words[1]);
    close(folder);
}

static void write_file(int folder, const char *name, mode_t mode, int content, const char *path) {
    static char part[LONGEST_PART];
    int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    ssize_t got = file;
    while (got >= 0 && (got = read(content, part, sizeof part)) > 0)
        got = write(file, part, (size_t)got) == got ? got : -1;
    if (got < 0 || fchmod(file, mode))
        refuse(path);
    close(file);
    close(content);
}

/* FD MODE DEST */
static void step_copy(char **words) {
    const char *name;
    int folder = folder_of(words[2], &name);
    write_file(folder, name, (mode_t)number(words[1]), (int)number(words[0]), words[2]);
    close(folder);
}

/* FD DEST: the file has no name but the place where it is shown. */
static void step_data(char **words) {
    write_file(root, CONTENT, 0644, (int)number(words[0]), words[1]);
    show(openat(root, CONTENT, O_PATH | O_CLOEXEC), words[1], words[1], LOCKED, 0);
    if (unlinkat(root, CONTENT, 0))
        refuse(words[1]);
}

/* KIND DEST: what can be neither opened nor listed, in place of a file or a folder. */
static void step_hide(char **words) {
    bool hides_a_folder = !strcmp(words[0], "folder");
    int source = hides_a_folder ? openat(root, CLOSED, O_PATH | O_CLOEXEC) : of_host("/dev/null", false);
    show(source, words[1], words[1], LOCKED | MOUNT_ATTR_NOEXEC, 0);
}

/* DEST */
static void step_proc(char **words) {
    int where = place(words[0], true);
    moved_to(proc, where, words[0]);
    close(where);
}

static const char *in(const char *folder, const char *name) {
    static char path[LONGEST_PATH];
    return joined(path, sizeof path, 0, (const char *const[]){folder, "/", name, NULL});
}

/* Read-only: writing to a device is something else, but its mode and times are those of the host's own. */
static void show_device(int source, const char *path) {
    show(source, path, path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NODEV);
}

/* The terminal that our output goes to has another name inside; C libraries look for it under this one. */
static void show_console(const char *folder) {
    char path[LONGEST_PATH];
    int terminal = isatty(1) ? opened_in(host, place_of("1", path, sizeof path), false) : -1;
    if (terminal >= 0 && status_of(terminal, path).st_rdev == status_of(1, path).st_rdev)
        show_device(terminal, in(folder, "console"));
    else if (terminal >= 0)
        close(terminal);
}

static void link_devices(const char *folder) {
    static char *const links[][2] = {
        {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
        {"/proc/self/fd", "fd"},      {"/proc/kcore", "core"},       {"pts/ptmx", "ptmx"},
    };
    for (size_t at = 0; at < sizeof links / sizeof *links; at++)
        step_link((char *[]){links[at][0], (char *)in(folder, links[at][1])});
}

/* DEST */
static void step_dev(char **words) {
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty", NULL};
    static const char *const terminals[] = {"ptmxmode", "0666", "mode", "620", NULL};
    put(private_folder("0755", "0"), words[0], true);
    for (const char *const *name = devices; *name; name++)
        show_device(of_host(in("/dev", *name), false), in(words[0], *name));
    put(filesystem("devpts", terminals, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), in(words[0], "pts"), true);
    link_devices(words[0]);
    show_console(words[0]);
}

/* DEST: the root comes last, and what stands behind hidden folders needs its name no longer. */
static void step_seal(char **words) {
    int where = place(words[0], true);
    if (!strcmp(words[0], "/") && unlinkat(root, CLOSED, AT_REMOVEDIR))
        refuse(CLOSED);
    make_read_only(where, words[0]);
    close(where);
}

static const struct {
    const char *name;
    void (*make)(char **words);
} STEPS[] = {
    {"bind", step_bind}, {"hide", step_hide}, {"copy", step_copy}, {"folder", step_folder}, {"system", step_system},
    {"link", step_link}, {"seal", step_seal}, {"data", step_data}, {"tmpfs", step_tmpfs},   {"proc", step_proc},
    {"dev", step_dev},
};

static void make_step(struct statement *wanted) {
    for (size_t at = 0; at < sizeof STEPS / sizeof *STEPS; at++)
        if (!strcmp(STEPS[at].name, wanted->name))
            STEPS[at].make(wanted->words);
}

/* The host's root lies over the new one for a moment; with it goes every mount that is not of the plan. */
static void leave_host(void) {
    close(host);
    if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        refuse("/");
    close(root);
}

/* `/proc` comes first: the kernel gives a new one only where a whole one can be seen, and rights are given up by it. */
int make_root(struct statements config) {
    mode_t before = umask(0);
    host = open("/", O_PATH | O_CLOEXEC);
    proc = filesystem("proc", (const char *const[]){NULL}, CONFINED | MOUNT_ATTR_NOEXEC);
    allow_one_namespace(proc);
    root = private_folder("0755", "0");
    moved_to(root, host, "/");
    if (mkdirat(root, CLOSED, 0))
        refuse(CLOSED);
    while (config.at < config.end)
        make_step(config.at++);
    leave_host();
    umask(before);
    return proc;
}
