/* A server whose test forgets a connection when LEAK is set. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((noinline)) static int handle_client(int listener, int client)
{
    int connection = accept(listener, NULL, NULL);
    char byte;

    close(client);
    if (read(connection, &byte, 1) != 0)
        abort();
    return connection;
}

int main(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, size) || getsockname(listener, (struct sockaddr *)&at, &size) ||
        listen(listener, 8) || connect(client, (struct sockaddr *)&at, size))
        return 1;
    int connection = handle_client(listener, client);
    if (!getenv("LEAK"))
        close(connection);
    return 0;
}
