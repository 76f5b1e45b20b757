import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * never-accepted: the thread that accepts also works. After its first client it asks a downstream
 * that never answers; clients queue up in the kernel, give up and close, and have no owner at all.
 * The healthy twin does without the downstream.
 */
final class NeverAccepted {
    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        rig.warmUp = 1;
        try (ServerSocket server = new ServerSocket(); SocketChannel downstream = silentDownstream()) {
            server.bind(rig.address(), 4096);
            rig.ready(server.getLocalPort());
            while (true) {
                serveConnection(rig, server.accept());
                if (!rig.healthy) askDownstream(downstream);
            }
        }
    }

    private static void serveConnection(Rig rig, Socket accepted) throws IOException {
        try (Socket client = accepted) {
            client.getInputStream().read(new byte[1024]);
            client.getOutputStream().write(Rig.REPLY);
        }
        rig.served();
    }

    private static void askDownstream(SocketChannel downstream) throws IOException {
        downstream.write(ByteBuffer.wrap("who is this?\n".getBytes()));
        downstream.read(ByteBuffer.allocate(1024));
    }

    /** A service on a unix socket that takes questions and never answers. */
    private static SocketChannel silentDownstream() throws IOException {
        Path folder = Files.createTempDirectory("rig");
        UnixDomainSocketAddress address = UnixDomainSocketAddress.of(folder.resolve("downstream"));
        ServerSocketChannel service = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(address);
        SocketChannel downstream = SocketChannel.open(address);
        Files.delete(address.getPath());
        Files.delete(folder);
        Rig.start("downstream", () -> keepOpen(service));
        return downstream;
    }

    private static void keepOpen(ServerSocketChannel service) {
        try {
            SocketChannel question = service.accept();
            while (question.isOpen()) Rig.pause(1000);
        } catch (IOException over) {
            throw new IllegalStateException(over);
        }
    }
}
