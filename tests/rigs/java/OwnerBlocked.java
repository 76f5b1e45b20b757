import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.locks.ReentrantLock;

/**
 * owner-blocked: one thread a connection; each reads its request and then waits for a lock that
 * somebody else's transaction never gives back, or with --cause cpu computes for ever. Nobody is there to
 * see the client leave.
 */
final class OwnerBlocked {
    private static final ReentrantLock DATABASE = new ReentrantLock();

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        if (!rig.healthy) DATABASE.lock();
        try (ServerSocket server = new ServerSocket()) {
            server.bind(rig.address(), 4096);
            rig.ready(server.getLocalPort());
            for (int i = 1; ; i++) {
                Socket client = server.accept();
                Rig.start("handler-" + i, () -> serveConnection(rig, client));
            }
        }
    }

    private static void serveConnection(Rig rig, Socket accepted) {
        try (Socket client = accepted) {
            handleClient(rig, client);
        } catch (IOException left) {
            // The client did not wait for its answer.
        }
        rig.served();
    }

    private static void handleClient(Rig rig, Socket client) throws IOException {
        client.getInputStream().read(new byte[1024]);
        if (rig.cause.equals("cpu") && !rig.healthy) computeAnswer();
        else queryDatabase();
        client.getOutputStream().write(Rig.REPLY);
    }

    private static int computeAnswer() {
        int answer = 7;
        while (answer != 0) answer = answer * 1103515245 | 1;
        return answer;
    }

    private static void queryDatabase() {
        DATABASE.lock();
        DATABASE.unlock();
    }
}
