// Changes who may do what on a broker: SCRAM users and access rules. The devcluster runs it as a source file with the broker's own jars
// on the class path. Usage: java Access.java BOOTSTRAP COMMAND…, each COMMAND one argument with fields separated by tabs:
//   password USER PASSWORD | allow PRINCIPAL OPERATION TYPE NAME | revoke PRINCIPAL OPERATION TYPE NAME

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

public class Access {
    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0], "request.timeout.ms", 20000))) {
            for (int index = 1; index < arguments.length; index++) {
                String[] command = arguments[index].split("\t", -1);
                switch (command[0]) {
                    case "password" -> {
                        var mechanism = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096);
                        var change = new UserScramCredentialUpsertion(command[1], mechanism, command[2]);
                        admin.alterUserScramCredentials(List.of(change)).all().get();
                    }
                    case "allow" -> admin.createAcls(List.of(rule(command))).all().get();
                    case "revoke" -> admin.deleteAcls(List.of(rule(command).toFilter())).all().get();
                    default -> throw new IllegalArgumentException(command[0]);
                }
            }
        }
    }

    private static AclBinding rule(String[] command) {
        boolean prefix = command[4].endsWith("*") && command[4].length() > 1;
        String name = prefix ? command[4].substring(0, command[4].length() - 1) : command[4];
        var pattern = new ResourcePattern(
                ResourceType.fromString(command[3]), name, prefix ? PatternType.PREFIXED : PatternType.LITERAL);
        var operation = AclOperation.fromString(command[2]);
        return new AclBinding(pattern, new AccessControlEntry(command[1], "*", operation, AclPermissionType.ALLOW));
    }
}
