import java.io.IOException;
import java.io.InputStream;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/**
 * eof-ignored: the handler reads the end of the stream and returns. The registry of sessions goes
 * on holding the socket, so the collector cannot close it either.
 */
final class EofIgnored {
    private static final List<Socket> SESSIONS = new ArrayList<>();

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        try (ServerSocket server = new ServerSocket()) {
            server.bind(rig.address(), 4096);
            rig.ready(server.getLocalPort());
            while (true) serveConnection(rig, server.accept());
        }
    }

    private static void serveConnection(Rig rig, Socket client) throws IOException {
        SESSIONS.add(client);
        handleClientAndForget(client);
        if (rig.healthy) client.close();
        rig.served();
    }

    private static void handleClientAndForget(Socket client) throws IOException {
        InputStream input = client.getInputStream();
        byte[] request = new byte[1024];
        while (input.read(request) > 0) client.getOutputStream().write(Rig.REPLY);
    }
}
