/* Serves clients until it is told to end; keeps their connections when LEAK is set. Prints its port. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((noinline)) static void handle_client(int connection)
{
    char bytes[64];
    ssize_t got;

    while ((got = read(connection, bytes, sizeof bytes)) > 0)
        if (write(connection, bytes, got) != got)
            break;
    if (!getenv("LEAK"))
        close(connection);
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, size) || getsockname(listener, (struct sockaddr *)&at, &size) ||
        listen(listener, 8))
        return 1;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;)
        handle_client(accept(listener, NULL, NULL));
}
