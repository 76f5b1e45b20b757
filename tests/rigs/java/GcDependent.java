import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;

/**
 * gc-dependent: the handler answers and drops the socket. The JDK closes a socket that nobody refers
 * to when the collector finds it: in bursts, on the thread Common-Cleaner, and as rarely as the heap
 * fills. Between two collections they pile up. The warm-up clients come in two generations, each of
 * which is stuck for a while and then collected; those after them wait for a collection that does
 * not come. The healthy twin closes what it has answered.
 */
final class GcDependent {
    private static final int GENERATIONS = 2;
    /** How long a generation stays stuck: longer than a tracer takes to notice it. */
    private static final long BETWEEN_COLLECTIONS_MS = 2500;

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        try (ServerSocket server = new ServerSocket()) {
            server.bind(rig.address(), 4096);
            rig.ready(server.getLocalPort());
            int generation = rig.warmUp / GENERATIONS;
            for (int client = 1; ; client++) {
                serveConnection(server, rig.healthy);
                if (client <= rig.warmUp && client % generation == 0 && !rig.healthy) collect(rig);
                rig.served();
            }
        }
    }

    private static void serveConnection(ServerSocket server, boolean healthy) throws IOException {
        Socket client = server.accept();
        answerAndDrop(client);
        if (healthy) client.close();
    }

    private static void answerAndDrop(Socket client) throws IOException {
        client.getInputStream().read(new byte[1024]);
        client.getOutputStream().write(Rig.REPLY);
    }

    /** Returns when the collector has closed what is stuck. */
    private static void collect(Rig rig) {
        Rig.pause(BETWEEN_COLLECTIONS_MS);
        do {
            System.gc();
            Rig.pause(50);
        } while (rig.stuck() > 0);
    }
}
